// What templates of rule files know: `[vars]`, lists of addresses, libvirt's networks, the guests' leases.
// Guarantee: nothing here but data; what a guest or a name could smuggle in is left out, and said (rules/facts.ts).

import type { RuleVars } from '../config/vars.ts';
import { type Host, HostError } from '../host/host.ts';
import type { TemplateVariables } from '../host/template.ts';
import type { Network } from '../ruleset/network.ts';
import { type GuestFact, guestFacts, type NetworkFact, networkFacts, readAddresses } from '../rules/facts.ts';
import { finding, type Finding } from '../rules/types.ts';
import { readTrusted } from './trusted-file.ts';

export interface Variables {
  readonly values: TemplateVariables;
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** Where libvirt has dnsmasq's leases written: `virbr0.status`, `virbr0.macs`. */
export const LEASES_FOLDER = '/var/lib/libvirt/dnsmasq';

export async function readVariables(
  { files }: Pick<Host, 'files'>,
  vars: RuleVars,
  networks: readonly Network[],
  uid: number,
): Promise<Variables> {
  const problems: Finding[] = [];
  const lists: Record<string, readonly string[]> = {};
  for (const { name, path } of vars.files) {
    const whole = { file: path, line: 0, column: 0 };
    const read = await readTrusted(files, path, uid);
    if (read.kind === 'text') {
      const { values, problems: found } = readAddresses(read.text);
      problems.push(
        ...found.map(({ line, column, message }) => finding('bad-variable', { file: path, line, column }, message)),
      );
      lists[name] = values;
      continue;
    }
    lists[name] = [];
    const why = read.kind === 'missing' ? 'there is no such file' : read.why;
    problems.push(finding(read.kind === 'unsafe' ? 'unsafe-file' : 'bad-variable', whole, `variable ${name}: ${why}`));
  }
  const host = await readFacts(files, networks);
  const facts = { libvirt: { networks: host.networks }, guests: host.guests };
  return { values: { ...vars.values, ...lists, ...facts } as TemplateVariables, problems, warnings: host.warnings };
}

interface Facts {
  readonly networks: readonly NetworkFact[];
  readonly guests: readonly GuestFact[];
  readonly warnings: readonly Finding[];
}

async function readFacts(files: Host['files'], networks: readonly Network[]): Promise<Facts> {
  const { facts, omitted } = networkFacts(networks);
  const place = (file: string) => ({ file, line: 0, column: 0 });
  const warnings = omitted.map((what) =>
    finding('left-out-fact', place('libvirt'), `${what} is no plain word, so templates do not see it`),
  );
  const guests: GuestFact[] = [];
  for (const network of facts) {
    if (network.bridge === '') continue;
    const path = `${LEASES_FOLDER}/${network.bridge}.status`;
    const [status, macs] = await Promise.all([
      readJson(files, path, warnings),
      readJson(files, `${LEASES_FOLDER}/${network.bridge}.macs`, warnings),
    ]);
    const found = guestFacts(network, status, macs);
    guests.push(...found.facts);
    warnings.push(
      ...found.omitted.map((what) => finding('left-out-fact', place(path), `${what}; templates do not see it`)),
    );
  }
  return { networks: facts, guests, warnings };
}

/** Undefined for a file that is missing, empty (dnsmasq makes it so), or half written; one that cannot be read is said. */
async function readJson(files: Host['files'], path: string, warnings: Finding[]): Promise<unknown> {
  try {
    const text = (await files.read(path)) ?? '';
    return text.trim() === '' ? undefined : (JSON.parse(text) as unknown);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    if (!(error instanceof HostError)) throw error;
    const whole = { file: path, line: 0, column: 0 };
    warnings.push(finding('left-out-fact', whole, `${error.message}; templates do not see its guests`));
    return undefined;
  }
}
