"""Turns rows of (task, text, question, answer) into prompts, with and without worked examples.

Tasks are `explain` (the text is code, the question names its language), `summarize` (no question) and `answer`.
"""

import re

SUMMARIZE = [
    "Summarize the following text.\n\n{text}\n\nSummary:",
    "Summarize: {text}",
    "Summarize:\n\n{text}",
    "{text}\n\nWrite a brief summary in a sentence or less.",
    "Summarize this article in one sentence.\n\n{text}",
    "Text: {text}\n\nWhat is this text about?",
    "What is the main point of the following text?\n\n{text}",
    "{text}\n\nSummarize the text above.",
    "Write a one sentence summary of the following text: {text}",
    "{text}\n\nTL;DR:",
    "{text}\n\nWhat is a summary of this text?",
    "{text}\n\nSummary:",
]
EXPLAIN = [
    "Explain what the following {language} code does.\n\n{text}\n\nExplanation:",
    "Explain the following {language} code.\n\n{text}",
    "Explain this code:\n{text}",
    "{text}\n\nWhat does this code do?",
    "{text}\n\nWhat does this {language} code do?",
    "Describe what the function below does.\n\n{text}",
    "Write a one-line documentation comment for this {language} code.\n\n{text}",
    "Read this {language} code and explain it.\n\n{text}",
    "Summarize what this {language} code does.\n\n{text}",
    "Here is some {language} code:\n\n{text}\n\nWhat does it do?",
    "{language} code:\n{text}\n\nExplanation:",
]
ANSWER = [
    "{text}\n\nQuestion: {question}\n\nAnswer:",
    "Read this and answer the question.\n\n{text}\n\n{question}",
    'Read this and answer the question. If the question is unanswerable, say "unanswerable".\n\n{text}\n\n{question}',
    "Answer the question using the text.\n\nText: {text}\n\nQuestion: {question}",
    "Context: {text}\nQuestion: {question}\nAnswer:",
    "{text}\n\n{question}",
    "{question}\n\n{text}",
    "Answer based on context:\n\n{text}\n\n{question}",
    "{text}\nQ: {question}\nA:",
    "Answer the question about the text below.\n\n{text}\n\nQuestion: {question}",
]
WORDINGS = {"summarize": SUMMARIZE, "explain": EXPLAIN, "answer": ANSWER}

# Names of the two halves of a worked example.
MARKS = [
    ("Input", "Output"),
    ("Q", "A"),
    ("Text", "Label"),
    ("input", "output"),
    ("Code", "Answer"),
    ("Text", "Summary"),
]
SHORT = 420  # characters; longer texts make no worked examples
EXAMPLES_MAX = 1500  # characters of all examples of a prompt together

NAME = re.compile(
    r"\b(?:def|func|fn|function|class|struct|enum|interface|type|void|int|static|const|let|var|public)\s+"
    r"(?:\([^)]*\)\s*)?\*?([A-Za-z_]\w*)"
)


def prompt(row, wording=0):
    """The prompt of a row in one of its task's wordings; 0 is the one that the product uses."""
    task, text, question, _ = row
    template = WORDINGS[task][wording]
    if task == "explain":
        return template.replace("{language}", question or "source").replace("{text}", text)
    return template.replace("{question}", question).replace("{text}", text)


def function_name(row):
    """The first declared name in a row's code, or None."""
    match = NAME.search(row[1])
    return match.group(1) if match else None


def function_parameters(row):
    """What stands in the first parentheses of a row's code, on one line; None if that is nothing or too long."""
    match = re.search(r"\(([^()]*)\)", row[1])
    if not match or not match.group(1).strip() or len(match.group(1)) > 90:
        return None
    return re.sub(r"\s+", " ", match.group(1)).strip()


# For each task: what is to be read off the examples, and instructions that may say so.
GAMES = {
    "explain": [
        (lambda row: row[3], ["Explain each piece of code.", "What does each function do?", ""]),
        (lambda row: row[2], ["Name the language.", "Which language is it?", ""]),
        (function_name, ["Give the name of the function.", ""]),
        (function_parameters, ["List the parameters.", ""]),
        (lambda row: row[3].split()[0], ["Give the first word of the explanation.", ""]),
    ],
    "summarize": [(lambda row: row[3], ["Summarize each text.", "Write a title for each text.", ""])],
    "answer": [(lambda row: row[3], ["Answer each question.", ""])],
}


def few_shot(task, rows, rng):
    """A prompt of one to four worked examples and an open one, and its answer. `rows`: short rows of the task."""
    target, instructions = rng.choice(GAMES[task])
    count = rng.choice((1, 2, 2, 3, 3, 4))
    limit = EXAMPLES_MAX // (count + 1)
    examples = []
    while len(examples) < count + 1:
        row = rng.choice(rows)
        if len(row[1]) > limit:
            continue
        answer = target(row)
        if answer:
            question = "\n" + row[2] if task == "answer" else ""
            examples.append((row[1] + question, answer))
    given, wanted = rng.choice(MARKS)
    separator = rng.choice(("\n\n", "\n"))
    instruction = rng.choice(instructions)
    head = instruction + separator if instruction else ""
    worked = separator.join(f"{given}: {text}\n{wanted}: {answer}" for text, answer in examples[:-1])
    text, answer = examples[-1]
    return f"{head}{worked}{separator}{given}: {text}\n{wanted}:", answer
