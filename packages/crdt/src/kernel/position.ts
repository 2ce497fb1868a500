/**
 * Where something stands among its siblings: text whose order by code units is theirs. Between any two there is always
 * room for another, so nothing has to be renumbered. None ends with the lowest digit: nothing would fit before it.
 */
const DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
const BASE = 64;
const LOWEST = "-";
const MIDDLE = "U";
const PATTERN = /^[-0-9A-Z_a-z]*[0-9A-Z_a-z]$/;

/** Digits of a hybrid time: 54 bits. */
const TIME_DIGITS = 9;

/** Digits of chance at the end, so that two replicas that insert at one place do not choose the same position. */
const SALT_DIGITS = 3;

const POSITION_LENGTH_MAX = 1024;

/** Whether a position, as a peer sent it, can be used. */
export function isPosition(text: unknown): text is string {
  return typeof text === "string" && text.length <= POSITION_LENGTH_MAX && PATTERN.test(text);
}

/**
 * Behind all that was placed before `time`.
 *
 * @param index counts what one event places at the end
 */
export function endPosition(time: number, index: number): string {
  const count = digits(index + 1);
  return digits(time).padStart(TIME_DIGITS, LOWEST) + (DIGITS[count.length] ?? "") + count + MIDDLE;
}

/**
 * Between two positions. Equal ones, or such that have no room left within the limit of length, give `next` again:
 * what stands at one position has no order of its own.
 *
 * @param salt what differs in every call: event and place within it
 */
export function positionBetween(previous: string, next: string, salt: string): string {
  if (previous >= next) return next;
  let position = midpoint(previous, next);
  // What follows the salt must stay below: never with all of `position` at its beginning.
  while (next.startsWith(position)) position = midpoint(position, next);
  position += saltDigits(salt);
  return position.length > POSITION_LENGTH_MAX ? next : position;
}

function digits(value: number): string {
  let text = "";
  for (let rest = value; rest > 0; rest = Math.floor(rest / BASE)) text = (DIGITS[rest % BASE] ?? "") + text;
  return text;
}

/** The shortest text between `a` and `b`, near the middle; `a` may be empty, and `b` absent means no end. */
function midpoint(a: string, b: string | undefined): string {
  let shared = 0;
  while (b !== undefined && shared < b.length && (a[shared] ?? LOWEST) === b[shared]) shared++;
  if (b !== undefined && shared > 0) return b.slice(0, shared) + midpoint(a.slice(shared), b.slice(shared));
  const low = a === "" ? 0 : DIGITS.indexOf(a.charAt(0));
  const high = b === undefined ? BASE : DIGITS.indexOf(b.charAt(0));
  if (high - low > 1) return DIGITS.charAt((low + high) >> 1);
  if (b !== undefined && b.length > 1) return b.charAt(0);
  return DIGITS.charAt(low) + midpoint(a.slice(1), undefined);
}

// FNV-1a, mixed once more: neighbouring events must not be neighbours here.
function saltDigits(salt: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < salt.length; index++) hash = Math.imul(hash ^ salt.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  let text = "";
  for (let count = 0; count < SALT_DIGITS; count++) {
    text += DIGITS.charAt(1 + (hash % (BASE - 1)));
    hash = Math.floor(hash / (BASE - 1));
  }
  return text;
}
