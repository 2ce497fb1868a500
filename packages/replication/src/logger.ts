/**
 * Where a node logs: pino's shape, so that a pino logger fits as it is. The first argument holds the fields (`code`,
 * `group`, `peer`, ...), which are stable; the second is for people.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
