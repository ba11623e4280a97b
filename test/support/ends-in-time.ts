// tests · `node --test --import` this: a test file whose process has not ended after ten minutes is ended, with what it still
// holds. Node bounds the tests of a file (--test-timeout), not the process, and a socket left open would hold the whole run.
if (process.env.NODE_TEST_CONTEXT !== undefined)
  setTimeout(() => {
    console.error(`this test file has not ended after ten minutes; it holds: ${process.getActiveResourcesInfo()}`);
    process.exit(1);
  }, 600_000).unref();
