// A dbus-daemon of our own on a socket in a temporary folder, and peers on it that speak dbus-next directly.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Message, MessageType, sessionBus, type MessageBus } from 'dbus-next';

const POLICY = `<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy>`;

export interface PrivateBus {
  readonly address: string;
  readonly pid: () => number | undefined;
  start(): Promise<void>;
  /** SIGKILL: every connection ends without a word. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: connections stay open, nothing answers. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

/** Writes the configuration; `start` starts the daemon. Anybody may own any name and send anything. */
export function privateBus(): PrivateBus {
  const folder = mkdtempSync(join(tmpdir(), 'mwb-bus-'));
  const socket = join(folder, 'bus');
  const config = join(folder, 'bus.conf');
  writeFileSync(config, `<busconfig><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>${POLICY}</busconfig>`);
  let daemon: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    const running = daemon;
    daemon = undefined;
    if (running === undefined) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await ended;
    rmSync(socket, { force: true });
  };
  return {
    address: `unix:path=${socket}`,
    pid: () => daemon?.pid,
    start: async () => {
      daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile', '--nosyslog']);
      // The socket's file is there a moment before anybody listens on it.
      while (!(await accepts(socket))) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    kill,
    freeze: () => void daemon?.kill('SIGSTOP'),
    thaw: () => void daemon?.kill('SIGCONT'),
    close: async () => {
      await kill();
      rmSync(folder, { recursive: true });
    },
  };
}

const accepts = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

export interface Peer {
  readonly uniqueName: string;
  /** Signals that reached this connection. */
  readonly heard: Message[];
  own(name: string): Promise<void>;
  signal(path: string, iface: string, member: string, signature?: string, body?: unknown[]): void;
  /** A signal addressed to one connection whose body is of type `h`, without any descriptor. */
  unreadable(destination: string): void;
  /** Method calls that come in from now on; undefined answers nothing at all, ever. */
  answer(reply: (call: Message) => unknown[] | undefined): void;
  hears(rule: string): Promise<void>;
  close(): void;
}

export async function startPeer(address: string): Promise<Peer> {
  const bus = sessionBus({ busAddress: address.replace('path=', 'socket=') });
  bus.on('error', () => bus.disconnect());
  await new Promise<void>((resolve) => void bus.on('connect', resolve));
  const heard: Message[] = [];
  bus.on('message', (message) => void (message.type === MessageType.SIGNAL && heard.push(message)));
  return {
    uniqueName: (bus as unknown as { readonly name: string }).name,
    heard,
    own: async (name) => void (await bus.requestName(name, 0)),
    signal: (...parts) => bus.send(Message.newSignal(...parts)),
    unreadable: (destination) => sendUnreadable(bus, destination),
    answer: (reply) => bus.addMethodHandler((call: Message) => answerCall(bus, call, reply(call))),
    hears: async (rule) => void (await bus.call(toBus('AddMatch', rule))),
    close: () => bus.disconnect(),
  };
}

function answerCall(bus: MessageBus, call: Message, body: unknown[] | undefined): boolean {
  if (body === undefined) return true;
  const signature = body.map((value) => (Array.isArray(value) ? 'ao' : 's')).join('');
  bus.send(Message.newMethodReturn(call, signature, body));
  return true;
}

function toBus(member: string, argument: string): Message {
  const [name, path] = ['org.freedesktop.DBus', '/org/freedesktop/DBus'];
  return new Message({ destination: name, path, interface: name, member, signature: 's', body: [argument] });
}

// Sends a body of type `u` whose signature becomes `h` on the way out: dbus-next itself would want a descriptor.
function sendUnreadable(bus: MessageBus, destination: string): void {
  const { stream } = (bus as unknown as { readonly _connection: { readonly stream: Socket } })._connection;
  const write = stream.write.bind(stream);
  stream.write = ((data: Buffer) => {
    // header field 8 (signature), of type g: `8 1 'g' 0  1 'u' 0`
    const at = data.indexOf(Buffer.from([8, 1, 0x67, 0, 1, 0x75, 0]));
    data.write('h', at + 5);
    return write(data);
  }) as typeof stream.write;
  const parts = { type: MessageType.SIGNAL, path: '/x', interface: 'org.libvirt.Connect', member: 'NetworkEvent' };
  bus.send(new Message({ ...parts, destination, signature: 'u', body: [0] }));
  stream.write = write;
}
