import type { TlsOptions } from "../http/app.ts";
import { readTls, type TlsFiles } from "./http-settings.ts";
import type { Log } from "./log.ts";

const CHECK_MS = 5000;

/** What is followed, and who is told. */
export interface CertificateOptions {
  readonly files: TlsFiles;
  /** What is served now. */
  readonly current: TlsOptions;
  /** Serves another certificate; returns when that ends. Throws for one that cannot be used. */
  readonly renew: (tls: TlsOptions) => Date;
  readonly log: Log;
}

/**
 * Reads the files of a certificate again and again, and serves what is in them as soon as it has stayed the same for
 * one interval: whoever renews writes two files one after the other. What cannot be used is logged once, and the
 * former stays. The files are read and not watched, for many renew by replacing a link or a directory. Returns how to stop.
 */
export function followCertificate(
  { files, current, renew, log }: CertificateOptions,
  intervalMs: number = CHECK_MS,
): () => void {
  let settled = textOf(current);
  let seen = settled;
  const check = async (): Promise<void> => {
    const read = await readTls(files).catch((error: unknown) => error);
    const text = read instanceof Error ? read.message : textOf(read as TlsOptions);
    const isSettling = text !== seen;
    seen = text;
    if (isSettling || text === settled) return;
    settled = text;
    try {
      if (read instanceof Error) throw read;
      const endsAt = renew(read as TlsOptions).toISOString();
      log("info", "certificate-renewed", `serves with the new certificate in ${files.cert}, good until ${endsAt}`, {
        file: files.cert,
        endsAt,
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `the new certificate in ${files.cert} is not taken, the former stays: ${reason}`;
      log("error", "certificate-refused", message, { file: files.cert, reason });
    }
  };
  const timer = setInterval(() => void check(), intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}

function textOf({ cert, key }: TlsOptions): string {
  return `${cert}\n${key}`;
}
