/** Calls back. What `fn` throws, or the promise that it returns rejects with, is told to `failed` and goes no further. */
export function callBack(fn: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = fn();
    if (result instanceof Promise) result.catch(failed);
  } catch (error) {
    failed(error);
  }
}
