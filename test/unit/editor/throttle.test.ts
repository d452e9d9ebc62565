import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Throttle } from '../../../src/throttle';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('acts at once, then at its pace, and never loses the last request', () => {
  const action = vi.fn();
  const throttle = new Throttle(action, 100);
  for (let i = 0; i < 25; i++) {
    throttle.request();
    vi.advanceTimersByTime(10);
  }
  expect(action).toHaveBeenCalledTimes(3);
  vi.advanceTimersByTime(1000);
  expect(action).toHaveBeenCalledTimes(4);
});

it('does nothing after it was disposed', () => {
  const action = vi.fn();
  const throttle = new Throttle(action, 100);
  throttle.request();
  throttle.request();
  throttle.dispose();
  vi.advanceTimersByTime(1000);
  expect(action).toHaveBeenCalledTimes(1);
});
