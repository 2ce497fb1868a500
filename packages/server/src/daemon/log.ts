/** The daemon's log: text for people, one JSON object a line for programs. */

export type LogLevel = "info" | "warn" | "error";

export interface LogFields {
  readonly [field: string]: unknown;
}

/** Writes one event. `event` is stable and kebab-case; `message` is for people. */
export type Log = (level: LogLevel, event: string, message: string, fields?: LogFields) => void;

/** Lines of JSON: `time`, `level`, `event`, `message`, then the fields. */
export function jsonLog(write: (line: string) => void, now: () => Date = () => new Date()): Log {
  return (level, event, message, fields) => {
    write(`${JSON.stringify({ time: now().toISOString(), level, event, message, ...fields })}\n`);
  };
}

/** Lines of text: the time of day and the message, further lines of it below. */
export function textLog(write: (line: string) => void, now: () => Date = () => new Date()): Log {
  return (level, _event, message) => {
    const time = now().toTimeString().slice(0, 8);
    const mark = level === "info" ? "" : `${level}: `;
    write(`${time}  ${mark}${message.replaceAll("\n", `\n${" ".repeat(time.length + 2)}`)}\n`);
  };
}
