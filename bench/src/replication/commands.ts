/** Answers the commands of the parent process, one at a time, with what their functions return; see `worker.ts`. */
export function answerCommands(commands: Record<string, (parameters: never) => unknown>): void {
  process.on("message", ({ command, parameters }: { command: string; parameters: never }) => {
    const answer = async (): Promise<unknown> => await commands[command]?.(parameters);
    answer().then(
      (result) => process.send?.({ result }),
      (error: unknown) =>
        process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit());
}
