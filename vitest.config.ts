import { defineConfig } from 'vitest/config'
import { LongestFirst } from './server/testing/longest-first.ts'

/** `unit`: pure and fast, run by `npm run check`. `int`: real QEMU, real sockets, real processes; never a browser. */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{app,components,lib,server,cli,e2e,bench,scripts,docs}/**/*.test.{ts,tsx,mjs}'],
          exclude: ['**/*.int.test.{ts,mjs}', 'node_modules/**'],
          testTimeout: 20_000,
          // Pure: to load every module anew for each file takes two thirds of the time.
          isolate: false,
        },
      },
      {
        test: {
          name: 'int',
          include: ['{server,cli,e2e,bench,scripts}/**/*.int.test.{ts,mjs}'],
          exclude: ['node_modules/**'],
          globalSetup: ['server/testing/kept.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          maxWorkers: 2,
          // `npm test` names what passed only on its second attempt.
          retry: process.env.CI ? 1 : 0,
        },
      },
    ],
  },
})
