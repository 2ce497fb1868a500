export * from "./core.ts";
export {
  transportSuite,
  type FixtureTransportOptions,
  type TransportFixture,
  type TransportSuiteOptions,
} from "./transport-suite.ts";
