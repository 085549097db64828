// What `nft -f FILE` makes of a file, in a throw-away network namespace: nft itself resolves includes, variables and its own
// spelling. The namespace ends with its one process.
// Guarantees: nothing of the machine's own network is touched; names go in as arguments, never into the shell's script.
// Does not: load a file that counts on what the host has (a table it deletes without making it first, a device that can do
// hardware offload): nft refuses it there, and nothing is known of it.
// Cost, measured: 25 ms for a small file.

import type { Host } from '../host/host.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';

export interface LoadedByNft {
  readonly tables: readonly NftTable[];
  /** The file takes tables away that it does not name: `flush ruleset`. */
  readonly flushes: boolean;
}

const PROBE = 'inet mw-probe';
const TIMEOUT_MS = 10_000;

/** $1: the file; then the devices it may name. From `/`, as a unit runs it. `dummy` needs a module that may be missing. */
const SCRIPT = `
file=$1
shift
cd /
for name; do
  ip link add name "$name" type dummy 2>/dev/null || ip link add name "$name" type bridge || exit
done
nft add table ${PROBE} || exit
nft -f "$file" || exit
exec nft -s list ruleset
`;

/** The tables that stand after `nft -f file` where none stood before; undefined when it cannot be loaded so. Needs root. */
export async function loadByNft(
  host: Pick<Host, 'exec'>,
  file: string,
  devices: readonly string[],
): Promise<LoadedByNft | undefined> {
  const { exitCode, stdout } = await host.exec({
    file: 'unshare',
    args: ['--net', '--', 'sh', '-c', SCRIPT, 'sh', file, ...devices.filter((name) => name !== 'lo')],
    timeoutMs: TIMEOUT_MS,
  });
  const { tables, problems } = parseNft(exitCode === 0 ? stdout : '', file);
  if (exitCode !== 0 || problems.length > 0) return undefined;
  const own = tables.filter((table) => tableKey(table) !== PROBE);
  return { tables: own, flushes: own.length === tables.length };
}
