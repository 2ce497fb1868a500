// `npm run check`: the static checks without the tests.
import { runChecks } from "./checks.mjs";

const { passed, failed } = await runChecks();
console.log(`${passed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length === 0 ? 0 : 1;
