// What the host says of its addresses and routes: `ip -j addr`, `ip -j route get`.
// Guarantee: what ip does not say is undefined, never guessed. Reads only.
// Does not: know what a policy route by mark does; each question is one packet without a mark.

import type { Host } from '../host/host.ts';
import type { Family } from '../ruleset/types.ts';

type Exec = Pick<Host, 'exec'>;

export interface Interfaces {
  readonly names: readonly string[];
  readonly addresses: readonly { readonly address: string; readonly dev: string }[];
}

/** All interfaces and addresses of the host; undefined when ip cannot say. */
export async function readInterfaces({ exec }: Exec): Promise<Interfaces | undefined> {
  const links = list(await askIp(exec, ['-j', 'addr']));
  if (links === undefined) return undefined;
  const names = links.map((link) => text(link, 'ifname') ?? '');
  const addresses = links.flatMap((link, at) => {
    const infos = list(field(link, 'addr_info')) ?? [];
    return infos.flatMap((info) => {
      const address = text(info, 'local');
      return address === undefined ? [] : [{ address, dev: names[at] ?? '' }];
    });
  });
  return { names, addresses };
}

export interface RouteQuestion {
  readonly family: Family;
  readonly to: string;
  /** Where the packet comes from, for policy routes and for the kernel's own check of sources. Left out: from the host. */
  readonly from?: string;
  readonly iif?: string;
}

/** `here`: the host takes it itself (local, broadcast). `refused`: the kernel has no way for it; `why` is its word. */
export type Route =
  | { readonly kind: 'here' }
  | { readonly kind: 'out'; readonly dev: string }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'unknown' };

/** One look-up, as the kernel would route such a packet. */
export async function askRoute({ exec }: Exec, { family, to, from, iif }: RouteQuestion): Promise<Route> {
  const words = [...(from === undefined ? [] : ['from', from]), ...(iif === undefined ? [] : ['iif', iif])];
  const result = await exec({
    file: 'ip',
    args: ['-j', family === 'ip' ? '-4' : '-6', 'route', 'get', to, ...words],
  });
  // RTNETLINK answers: Network is unreachable
  const refusal = /^RTNETLINK answers: (.+)$/m.exec(result.stderr)?.[1];
  if (result.exitCode !== 0) return refusal === undefined ? { kind: 'unknown' } : { kind: 'refused', why: refusal };
  const [route] = list(parse(result.stdout)) ?? [];
  const type = text(route, 'type');
  const dev = text(route, 'dev');
  if (type === 'local' || type === 'broadcast') return { kind: 'here' };
  if (type !== undefined && type !== 'unicast') return { kind: 'refused', why: `a route of type ${type}` };
  return dev === undefined ? { kind: 'unknown' } : { kind: 'out', dev };
}

/** The interface of the default route; undefined where there is none, or several. */
export async function defaultDevice({ exec }: Exec): Promise<string | undefined> {
  for (const family of ['-4', '-6']) {
    const routes = list(await askIp(exec, ['-j', family, 'route', 'show', 'default'])) ?? [];
    const devices = new Set(routes.map((route) => text(route, 'dev')));
    if (devices.size > 0) return devices.size === 1 ? [...devices][0] : undefined;
  }
  return undefined;
}

async function askIp(exec: Exec['exec'], args: readonly string[]): Promise<unknown> {
  const { exitCode, stdout } = await exec({ file: 'ip', args });
  return exitCode === 0 ? parse(stdout) : undefined;
}

function parse(said: string): unknown {
  try {
    return JSON.parse(said === '' ? '[]' : said);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const list = (value: unknown): readonly unknown[] | undefined => (Array.isArray(value) ? value : undefined);

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown, name: string): string | undefined {
  const found = field(value, name);
  return typeof found === 'string' ? found : undefined;
}
