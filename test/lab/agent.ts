// Runs inside a guest or the outside host; started by agents.ts as plain JavaScript, so it imports nothing but node.
// Commands come as JSON lines on stdin, answers go as JSON lines to stdout.
//   {"op":"once","id":1,"kind":"dns","target":"192.168.122.1"}           one probe, answered by {"id":1,"sample":{...}}
//   {"op":"start","kind":"dns","target":"...","everyMs":20}              probes until stop
//   {"op":"stop","id":2}                                                 answered by {"id":2,"samples":[...]}
// Every probe is a new flow: its own socket, so its own source port. A flow that conntrack already knows would pass by
// the very rules we ask about. DHCP has fixed ports; its broadcasts never become ESTABLISHED, so each one is judged.
// Times are CLOCK_MONOTONIC in ms, the same in every process of the machine.

import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createInterface } from 'node:readline';

type Kind = 'dhcp' | 'dns' | 'natOut' | 'portForwardIn';
type Sample = { kind: Kind; sentMs: number; ok: boolean; tookMs: number; detail: string };
type Command =
  | { op: 'once'; id: number; kind: Kind; target: string }
  | { op: 'start'; kind: Kind; target: string; everyMs: number }
  | { op: 'stop'; id: number };

/** A sound answer takes under 5 ms here; a SYN that was lost is sent again after 1 s and must count as lost. */
const PATIENCE_MS = 400;
const ECHO_PORT = 7007;
const GUEST_PORT = 22;
const FORWARDED_PORT = 8022;
const BANNER = 'mendwall lab guest';
const HOST_ADDRESS = '198.51.100.1';

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
const say = (answer: unknown): void => void process.stdout.write(JSON.stringify(answer) + '\n');

let samples: Sample[] = [];
let timers: NodeJS.Timeout[] = [];
const waiting = new Set<Promise<unknown>>();

/** Runs one probe; `send` calls back with what came, and gives back how to end it. */
function probe(kind: Kind, send: (done: (ok: boolean, detail: string) => void) => () => void): Promise<Sample> {
  const sentMs = nowMs();
  return new Promise((resolve) => {
    let settled = false;
    const done = (ok: boolean, detail: string): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      setImmediate(() => end());
      resolve({ kind, sentMs, ok, tookMs: nowMs() - sentMs, detail });
    };
    const timer = setTimeout(() => done(false, 'no answer'), PATIENCE_MS);
    const end = send(done);
  });
}

/** To the echo in the outside host, which says the address it saw: it must be the hypervisor's. */
function natOut(target: string): Promise<Sample> {
  return probe('natOut', (done) =>
    askUdp(target, ECHO_PORT, Buffer.from('who am I?'), done, (answer) => {
      const seen = answer.toString();
      done(seen === HOST_ADDRESS, `seen as ${seen}`);
    }),
  );
}

function dns(target: string): Promise<Sample> {
  const id = Math.floor(Math.random() * 65536);
  return probe('dns', (done) =>
    askUdp(target, 53, dnsQuery(id), done, (answer) => {
      if (answer.length > 12 && answer.readUInt16BE(0) === id) done(answer.readUInt16BE(6) > 0, 'answered');
    }),
  );
}

/** A connected socket learns of an ICMP refusal at once (ECONNREFUSED). */
function askUdp(
  target: string,
  port: number,
  question: Buffer,
  done: (ok: boolean, detail: string) => void,
  answered: (answer: Buffer) => void,
): () => void {
  const socket = createSocket('udp4');
  let open = true;
  socket.on('error', (error) => done(false, error.message));
  socket.on('message', answered);
  socket.connect(port, target, () => {
    if (open) socket.send(question, (error) => error && done(false, error.message));
  });
  return () => {
    open = false;
    socket.close();
  };
}

/** A question for the A record of gateway.lab, recursion desired (RFC 1035, 4.1). */
function dnsQuery(id: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  const labels = ['gateway', 'lab'].map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

function portForwardIn(target: string): Promise<Sample> {
  return probe('portForwardIn', (done) => {
    const socket = connect({ host: target, port: FORWARDED_PORT });
    socket.on('error', (error) => done(false, error.message));
    socket.on('data', (chunk: Buffer) => done(chunk.toString().startsWith(BANNER), 'connected'));
    socket.on('close', () => done(false, 'closed'));
    return () => socket.resetAndDestroy();
  });
}

const offersAwaited = new Map<number, (ok: boolean, detail: string) => void>();
let dhcpSocket: Promise<Socket> | undefined;

/** DISCOVER by broadcast with the broadcast flag, answered by an OFFER with our transaction number. */
function dhcp(): Promise<Sample> {
  const transaction = Math.floor(Math.random() * 0xffffffff);
  return probe('dhcp', (done) => {
    offersAwaited.set(transaction, done);
    dhcpSocket ??= openDhcpSocket();
    dhcpSocket.then(
      (socket) =>
        socket.send(discover(transaction), 67, '255.255.255.255', (error) => error && done(false, error.message)),
      (error: Error) => done(false, error.message),
    );
    return () => void offersAwaited.delete(transaction);
  });
}

function openDhcpSocket(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (message) => {
    if (message.length > 33)
      offersAwaited.get(message.readUInt32BE(4))?.(true, `offered ${[...message.subarray(16, 20)].join('.')}`);
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(68, () => {
      socket.setBroadcast(true);
      resolve(socket);
    });
  });
}

/** BOOTP request with option 53 = DISCOVER (RFC 2131, table 5). */
function discover(transaction: number): Buffer {
  const message = Buffer.alloc(300);
  message.set([1, 1, 6, 0], 0);
  message.writeUInt32BE(transaction, 4);
  message.writeUInt16BE(0x8000, 10);
  message.set(macOfEth0(), 28);
  message.set([99, 130, 83, 99, 53, 1, 1, 255], 236);
  return message;
}

function macOfEth0(): number[] {
  const mac = networkInterfaces()['eth0']?.[0]?.mac ?? '00:00:00:00:00:00';
  return mac.split(':').map((byte) => parseInt(byte, 16));
}

function send(kind: Kind, target: string): Promise<Sample> {
  switch (kind) {
    case 'dhcp':
      return dhcp();
    case 'dns':
      return dns(target);
    case 'natOut':
      return natOut(target);
    case 'portForwardIn':
      return portForwardIn(target);
  }
}

function start({ kind, target, everyMs }: { kind: Kind; target: string; everyMs: number }): void {
  const tick = (): void => {
    const sent = send(kind, target).then((sample) => {
      samples.push(sample);
      waiting.delete(sent);
    });
    waiting.add(sent);
  };
  timers.push(setInterval(tick, everyMs));
}

async function stop(id: number): Promise<void> {
  for (const timer of timers) clearInterval(timer);
  timers = [];
  await Promise.all(waiting);
  say({ id, samples });
  samples = [];
}

function obey(command: Command): void {
  switch (command.op) {
    case 'once':
      void send(command.kind, command.target).then((sample) => say({ id: command.id, sample }));
      return;
    case 'start':
      return start(command);
    case 'stop':
      return void stop(command.id);
  }
}

function serve(): void {
  const echo = createSocket('udp4');
  echo.on('message', (_, from) => echo.send(from.address, from.port, from.address));
  // An answer to an address without a route back (a packet that was not translated) fails here: that is the point.
  echo.on('error', (error) => void process.stderr.write(`echo: ${error.message}\n`));
  echo.bind(ECHO_PORT);
  const banner = createServer((socket) => {
    socket.on('error', (error) => void process.stderr.write(`banner: ${error.message}\n`));
    socket.end(BANNER + '\n');
  });
  banner.listen(GUEST_PORT, () => say({ ready: true }));
}

createInterface({ input: process.stdin })
  .on('line', (line) => obey(JSON.parse(line) as Command))
  .on('close', () => process.exit(0));
serve();
