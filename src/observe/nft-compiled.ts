// The rules of a text as nft sends them to the kernel: two texts with the same ones are the same rules, however they are spelled,
// with whatever includes and variables. nft itself is the judge, in its check mode.
// Guarantees: nothing is committed (`-c`; no event, no new generation: measured with nft 1.0.6 and 1.1.3), so it needs no namespace
// and works where the daemon may make none.
// Does not: tell policies, named sets and their elements, chains without a rule (`--debug=netlink` leaves them out, or their table).
// Cost, measured: 12 ms for a small file, the start of nft in it (the fastest of 30).

import type { Host } from '../host/host.ts';

/** By `FAMILY TABLE`: the rules of each chain, in order. Without tables that have no rule. */
export type CompiledRules = ReadonlyMap<string, string>;

const TIMEOUT_MS = 10_000;

/** The rules of a file, or of `input` when the file is `-`; undefined when nft refuses it. Relative includes are those of `/etc`. */
export async function compiledRules(
  host: Pick<Host, 'exec'>,
  file: string,
  input = '',
): Promise<CompiledRules | undefined> {
  const { exitCode, stdout } = await host.exec({
    file: 'nft',
    args: ['-c', '--debug=netlink', '-f', file],
    input,
    timeoutMs: TIMEOUT_MS,
  });
  return exitCode === 0 ? rulesIn(stdout) : undefined;
}

/** `inet filter input`, `inet filter` (a chain without a name), then lines like `  [ meta load iif => reg 1 ]` */
const HEAD = /^(\S+ \S+)(?: (\S+))?$/;

function rulesIn(debug: string): CompiledRules {
  const chains = new Map<string, Map<string, string>>();
  const lines = debug.replaceAll(/\[ counter pkts \d+ bytes \d+ \]/g, '[ counter ]').split('\n');
  // A set without a name (`__set%d`) comes before the rule that asks it, and is a part of it.
  let sets = '';
  let rule: { readonly key: string; readonly chain: string } | undefined;
  for (const [at, line] of lines.entries()) {
    if (!line.startsWith(' ') && !line.startsWith('\t')) {
      const [, key = '', chain = ''] = lines[at + 1]?.startsWith('  [') === true ? (HEAD.exec(line) ?? []) : [];
      rule = key === '' ? undefined : { key, chain };
      if (rule !== undefined) append(chains, rule, `${sets}rule\n`);
      const isSet = rule === undefined && line.startsWith('__');
      if (isSet) sets += `${line}\n`;
      else if (line !== '') sets = '';
    } else if (rule !== undefined) append(chains, rule, `${line}\n`);
    // Elements are in the order of the text: `\telement 0000901f  : 0 [end]\telement 00009808  : 0 [end]`.
    else if (sets !== '') sets += `${line.split('\t').sort().join('\t')}\n`;
  }
  return new Map([...chains].map(([key, texts]) => [key, JSON.stringify([...texts].sort())]));
}

function append(
  chains: Map<string, Map<string, string>>,
  { key, chain }: { readonly key: string; readonly chain: string },
  text: string,
): void {
  const table = chains.get(key) ?? new Map<string, string>();
  chains.set(key, table.set(chain, (table.get(chain) ?? '') + text));
}
