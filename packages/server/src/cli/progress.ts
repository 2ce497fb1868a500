import type { SingleBar } from "cli-progress";
import type { Streams } from "./output.ts";
import { formatBytes } from "./output.ts";

/** How far long work is, for the person who waits. */
export interface Progress {
  /** `total` when it is known; `bytes` moved so far. */
  tell(done: number, total?: number, bytes?: number): void;
}

/** Work that takes this short shows no bar. */
const SHOWN_AFTER_MS = 300;

/**
 * Shows a bar on a terminal while `work` runs: `label`, and what is counted in `unit`. Nothing where the error stream is
 * no terminal, or with `--json`.
 */
export async function withProgress<Result>(
  streams: Streams,
  options: { readonly json?: boolean },
  [label, unit]: readonly [label: string, unit: string],
  work: (progress: Progress) => Promise<Result>,
): Promise<Result> {
  if (!streams.isErrTerminal || options.json === true) return await work({ tell: () => undefined });
  // Loaded here, as most commands have no use for it.
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    format: (_options, { value, total, eta }, { note }: { readonly note: string }) => {
      const amount =
        total > 0 ? `${value.toLocaleString("en")} of ${total.toLocaleString("en")}` : value.toLocaleString("en");
      const share = total > 0 ? `${drawn(value / total)} ${Math.floor((100 * value) / total)} %  ` : "";
      const left = total > 0 && value > 0 && eta > 1 ? `, ${eta} s left` : "";
      return `${label}  ${share}${amount} ${unit}${note}${left}`;
    },
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 10,
  });
  try {
    return await work(tellTo(bar));
  } finally {
    bar.stop();
  }
}

function tellTo(bar: SingleBar): Progress {
  const startedAt = performance.now();
  let isStarted = false;
  return {
    tell: (done, total = 0, bytes) => {
      const note = bytes === undefined ? "" : `, ${formatBytes(bytes)}`;
      if (isStarted) {
        bar.setTotal(total);
        bar.update(Math.min(done, total > 0 ? total : done), { note });
      } else if (performance.now() - startedAt > SHOWN_AFTER_MS) {
        isStarted = true;
        bar.start(total, done, { note });
      }
    },
  };
}

const WIDTH = 24;

function drawn(share: number): string {
  const filled = Math.min(WIDTH, Math.round(WIDTH * share));
  return "█".repeat(filled) + "░".repeat(WIDTH - filled);
}
