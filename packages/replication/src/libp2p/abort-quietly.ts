/**
 * Ends a connection or stream at once. libp2p throws when the other side has closed it in the meantime, which is just what
 * was wanted; from within an event listener that error would end the process.
 */
export function abortQuietly(target: { abort(reason: Error): void }, reason: Error): void {
  try {
    target.abort(reason);
  } catch {
    // It is gone already.
  }
}
