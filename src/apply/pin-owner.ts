// One `nft -i` that writes the tables of pins and stays: the kernel lets nobody else change or flush a table that it flagged as its own.
//
// Guarantees: one write after the other, each a single line and so one transaction; what nft said of it is known by a word behind
// it that nft cannot read and echoes: its complaints come in order, on one pipe. A write ends: with an answer, with nft's end or with
// its time (then nft is ended). With `persist` the tables outlive nft (measured: nft 1.1.3), without a moment in which they are gone.
// Does not: start another nft, or decide what is written.

import type { Dialog, Host } from '../host/host.ts';
import { PIN_TABLE } from '../plan/pin-text.ts';

type Doors = Pick<Host, 'dialog' | 'clock'>;

/** As long as any other program may take. Measured: 5,000 rules 1.3 s. */
const WRITE_MS = 30_000;
const END_MS = 5_000;

/** Ended, refused with nft's words, or done. */
export type OwnedWrite = { readonly kind: 'done' } | { readonly kind: 'refused' | 'ended'; readonly why: string };

export interface PinOwner {
  /** `text` as plan/pin-text.ts has it. Never rejects. */
  write(text: string): Promise<OwnedWrite>;
  /** Ends nft, and resolves when it has ended: its tables stay, and belong to nobody. */
  release(): Promise<void>;
}

/** `ended` is called once, when nft ends and nobody asked it to. */
export function openPinOwner({ dialog, clock }: Doors, ended: (why: string) => void): PinOwner {
  const nft: Conversation = { said: [], answer: undefined, over: undefined, asked: false };
  let count = 0;
  let isOver = (): void => undefined;
  const over = new Promise<void>((resolve) => (isOver = resolve));
  // Its complaints alone, as lines. Without HOME it would keep a history of what it was told in the file system's root.
  const script = 'exec nft -i 2>&1 > /dev/null';
  const child = dialog(
    { file: 'sh', args: ['-c', script], env: { HOME: '/dev/null' } },
    {
      line: (text) => hear(nft, text),
      end(reason) {
        nft.over = reason;
        nft.answer?.settle({ kind: 'ended', why: `nft -i ended: ${reason}` });
        isOver();
        if (!nft.asked) ended(reason);
      },
    },
  );
  return {
    write: (text) => tell(nft, child, clock, text, `mw-said-${++count}`),
    async release() {
      nft.asked = true;
      child.close();
      const late = clock.after(END_MS, isOver);
      await over;
      late.cancel();
    },
  };
}

interface Conversation {
  said: string[];
  answer: { readonly word: string; settle(write: OwnedWrite): void } | undefined;
  over: string | undefined;
  asked: boolean;
}

function hear(nft: Conversation, text: string): void {
  if (text !== nft.answer?.word) return void nft.said.push(text);
  // The last complaint is about the word itself.
  const why = nft.said.slice(0, nft.said.findLastIndex(isError)).find(isError);
  nft.answer.settle(why === undefined ? { kind: 'done' } : { kind: 'refused', why });
}

/** `Error: Could not process rule: Operation not permitted`, `internal:0:0-0: Error: ...` */
const isError = (line: string): boolean => line.includes('Error: ');

function tell(
  nft: Conversation,
  child: Dialog,
  clock: Doors['clock'],
  text: string,
  word: string,
): Promise<OwnedWrite> {
  if (nft.over !== undefined) return Promise.resolve({ kind: 'ended', why: `nft -i ended: ${nft.over}` });
  nft.said = [];
  return new Promise((resolve) => {
    const timer = clock.after(WRITE_MS, () => {
      settle({ kind: 'ended', why: `nft -i did not answer in ${WRITE_MS / 1000} s` });
      child.close();
    });
    const settle = (write: OwnedWrite): void => {
      timer.cancel();
      nft.answer = undefined;
      resolve(write);
    };
    nft.answer = { word, settle };
    child.write(`${oneLine(text)}\n${word}\n`);
  });
}

/** nft reads and commits line by line. */
const oneLine = (text: string): string =>
  text
    .trim()
    .replaceAll(/\{\n\s*/g, '{ ')
    .replaceAll(/\n\s*/g, '; ');

/** Undefined when nft and the kernel know tables of one owner that outlive it, otherwise what they said. Writes nothing. */
export async function whyNoOwner({ exec }: Pick<Host, 'exec'>): Promise<string | undefined> {
  const input = `add table ip ${PIN_TABLE}-check { flags owner,persist; }\n`;
  const { exitCode, stderr } = await exec({ file: 'nft', args: ['-c', '-f', '-'], input });
  if (exitCode === 0) return undefined;
  return `nft or the kernel has no \`owner,persist\` (nft 1.1.3 with Linux 6.18 has): ${stderr.split('\n').find(isError) ?? `exit code ${exitCode}`}`;
}
