/**
 * The delta of one event: operations, one after the other, to the end of the bytes.
 *
 * | item       | bytes                                                                                        |
 * |------------|----------------------------------------------------------------------------------------------|
 * | operation  | path, then the operation of the store that it leads to                                       |
 * | path       | nothing for the root; else steps from the root down                                          |
 * | step       | 0x10 + kind, string key                                                                      |
 * | same       | 0x00 in place of the path to a map: that of the previous operation's map                     |
 * | actor      | uint: 0 the event's own; n an actor named before in this delta; highest n + 1: its 16 bytes  |
 * | dot        | actor, uint seq                                                                              |
 *
 * | store    | operation | bytes                                                                                   |
 * |----------|-----------|-----------------------------------------------------------------------------------------|
 * | map      | clear     | 0x01, vector, uint count, (string key, cancels) each                                    |
 * | map      | delete    | 0x02, string key, vector, cancels                                                       |
 * | register | write     | uint 1 + count, the dots of *other* actors that it overwrites, value                    |
 * | counter  | first add | 0x01, amount: the first of a new run, which starts with this event                      |
 * | counter  | add       | 0x02, amount, uint seq - run start, total of the run before                             |
 * | log      | append    | 0x01, value                                                                             |
 *
 * | item    | bytes                                                                                            |
 * |---------|--------------------------------------------------------------------------------------------------|
 * | vector  | uint count, (actor, uint highest observed live seq) each: cancels every dot up to there          |
 * | cancels | uint count of kinds, each: 0x10 + kind, and for                                                  |
 * |         | a counter: uint count, (actor, uint run start, uint last - run start, total) each                |
 * |         | a map: uint count of keys, (string key, cancels) each                                            |
 * | amount, total | uint; int in a counter that also goes down                                                 |
 *
 * Why a vector suffices for registers: a remover has seen *every* event of an actor up to the highest it saw, so each
 * smaller dot at that place was either alive there, and is meant, or dead, and is dead wherever the removal arrives.
 * Counters need their rows: a later increment of the same actor adds to the row that the removal cancels a part of.
 *
 * Limits: amounts and totals of counters that also go down below 2^52, keys 1 024 bytes, paths 32 steps, values as in
 * `value.ts`.
 */

export const OP_SAME = 0x00;
export const OP_CLEAR = 0x01;
export const OP_DELETE = 0x02;
/** Added to the kind of a child. */
export const OP_CHILD = 0x10;

export const COUNTER_FIRST = 0x01;
export const COUNTER_ADD = 0x02;

export const LOG_APPEND = 0x01;
