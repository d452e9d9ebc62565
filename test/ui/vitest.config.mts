import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/ui/*.test.ts'],
    // One workbench at a time: two browsers and a model would only slow each other down.
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 180_000,
  },
});
