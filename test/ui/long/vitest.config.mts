// Tests that take minutes or have not passed often enough: not part of `npm test`.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/ui/long/*.test.ts'],
    // One workbench at a time: two browsers and a model would only slow each other down.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 180_000,
    // A slow machine is no failure: states are waited for, with a generous limit.
    expect: { poll: { timeout: 60_000, interval: 100 } },
  },
});
