// The management flows: who is logged in over ssh now, and where sshd listens. `ss` says both.
// Guarantee: what ss does not say is not there; a host without ss has no known flow but the caller's own session.
// Does not: judge. Reads only.

import type { Host } from '../host/host.ts';
import type { Family } from '../ruleset/types.ts';

/** One established connection, seen from the host. */
export interface ManagementFlow {
  readonly family: Family;
  readonly client: string;
  readonly clientPort: number;
  readonly server: string;
  readonly serverPort: number;
}

export interface Management {
  readonly flows: readonly ManagementFlow[];
  /** Ports that sshd listens on, each once. */
  readonly listening: readonly { readonly family: Family; readonly port: number }[];
}

/** `session`: the value of SSH_CONNECTION (`203.0.113.9 40000 192.0.2.1 22`), for the one who asks. */
export async function readManagement({ exec }: Pick<Host, 'exec'>, session: string | undefined): Promise<Management> {
  const result = await exec({ file: 'ss', args: ['-H', '-t', '-n', '-p', '-a'], timeoutMs: 10_000 });
  const sockets = result.exitCode === 0 ? result.stdout.split('\n').flatMap(parseSocket) : [];
  const own = session === undefined ? undefined : parseSession(session);
  const flows = sockets.filter(({ state, isSshd }) => state === 'ESTAB' && isSshd).flatMap(flowOf);
  const ports = new Set([...flows, ...(own === undefined ? [] : [own])].map(({ serverPort }) => serverPort));
  // A socket that systemd holds for sshd is known by the sessions that came through it.
  const listening = sockets.filter(
    ({ state, isSshd, local }) => state === 'LISTEN' && (isSshd || ports.has(local.port)),
  );
  return {
    flows: unique([...(own === undefined ? [] : [own]), ...flows]),
    listening: unique(
      listening.flatMap(({ local }) => familiesOf(local.address).map((family) => ({ family, port: local.port }))),
    ),
  };
}

interface End {
  readonly address: string;
  readonly port: number;
}

interface Socket {
  readonly state: string;
  readonly local: End;
  readonly peer: End | undefined;
  readonly isSshd: boolean;
}

/** `ESTAB 0 0 192.0.2.1:22 203.0.113.9:40000 users:(("sshd",pid=812,fd=4))` */
const SOCKET = /^(\S+)\s+\d+\s+\d+\s+(\S+)\s+(\S+)(?:\s+(.*))?$/;

function parseSocket(line: string): Socket[] {
  const [, state = '', local = '', peer = '', users = ''] = SOCKET.exec(line) ?? [];
  const here = parseEnd(local);
  // sshd, and since OpenSSH 9.8 sshd-session
  return here === undefined
    ? []
    : [{ state, local: here, peer: parseEnd(peer), isSshd: /\("sshd(?:-session)?"/.test(users) }];
}

/** `192.0.2.1:22`, `[2001:db8::1]:22`, `[fe80::1%eth0]:22`, `0.0.0.0%virbr0:53`, `[::ffff:192.0.2.1]:22`, `*:22` */
const END = /^(?:\[([^\]%]+)(?:%[^\]]*)?\]|([^%]*?)(?:%\S*)?):(\d+)$/;

function parseEnd(text: string): End | undefined {
  const [, v6, v4 = '', port] = END.exec(text) ?? [];
  return port === undefined ? undefined : { address: (v6 ?? v4).replace(/^::ffff:(?=\d+\.)/, ''), port: Number(port) };
}

const familyOf = (address: string): Family => (address.includes(':') ? 'ip6' : 'ip');

/** A socket on `*` or `::` takes both families (unless bindv6only, which ss shows as `[::]`). */
function familiesOf(address: string): Family[] {
  return address === '*' ? ['ip', 'ip6'] : [familyOf(address)];
}

function flowOf({ local, peer }: Socket): ManagementFlow[] {
  if (peer === undefined) return [];
  return [
    {
      family: familyOf(local.address),
      client: peer.address,
      clientPort: peer.port,
      server: local.address,
      serverPort: local.port,
    },
  ];
}

/** Client address and port, server address and port (ssh(1), ENVIRONMENT). */
function parseSession(text: string): ManagementFlow | undefined {
  const [client, clientPort, server, serverPort] = text.trim().split(/\s+/);
  if (client === undefined || server === undefined || !(Number(clientPort) > 0) || !(Number(serverPort) > 0))
    return undefined;
  const plain = (address: string): string => address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/, '');
  return {
    family: familyOf(plain(server)),
    client: plain(client),
    clientPort: Number(clientPort),
    server: plain(server),
    serverPort: Number(serverPort),
  };
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
