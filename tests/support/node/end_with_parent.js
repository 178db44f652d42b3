"use strict";
// Preloaded into a server. Its stdin is a pipe from the tests, so a test run that is killed takes the server with it.
process.stdin.on("close", () => process.exit(0)).resume();
