import { aborted } from "./error.ts";

/**
 * The items, until the signal fires: then it fails with `ABORTED` at once, whenever the next item would have come. The
 * source is told that no more are wanted, and not waited for.
 */
export async function* untilAborted<Item>(
  items: AsyncIterable<Item>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item> {
  const source = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await unlessAborted(source.next(), signal);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    const closed = source.return?.();
    if (signal?.aborted !== true) await closed;
    else closed?.catch(() => {});
  }
}

function unlessAborted<Result>(promise: Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(aborted(signal));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
