def retry(function, attempts=3, delay=0.5):
    """Call a function until it succeeds."""
    for attempt in range(attempts):
        try:
            return function()
        except ConnectionError:
            if attempt == attempts - 1:
                raise
            time.sleep(delay * 2 ** attempt)
