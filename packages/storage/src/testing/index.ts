export { type BackendSuiteOptions, type SuiteRunner, type SuiteSubject, backendSuite } from "./backend-suite.ts";
