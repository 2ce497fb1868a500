export { type BackendSuiteOptions, type SuiteRunner, type SuiteSubject, backendSuite } from "./backend-suite.ts";
export { type DiskFaults, type DiskWrite, type PowerCut, SimulatedDisk } from "./simulated-disk.ts";
