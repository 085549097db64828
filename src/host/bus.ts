// The door to D-Bus: the only file that knows dbus-next (0.10.2, unmaintained), of which it uses the low-level part only.
// Goal: one connection, honest about its end. What dbus-next leaves out is done here: every call has a timeout, the end of
// the connection is noticed and rejects what waits, no message can throw into the event loop, no native module is loaded.
// Does not: reconnect, track name owners, or match signals (bus-reconnect.ts).

import type { MessageBus, Message, MessageLike } from 'dbus-next';
import type { Socket } from 'node:net';
import { socketAddress } from './bus-rule.ts';
import { reconnectingBus, type Link, type LinkHandlers } from './bus-reconnect.ts';
import { HostError, type Bus, type BusCall, type Clock, type Log, type Timer } from './host.ts';

type Library = typeof import('dbus-next');

const DEFAULT_ADDRESS = 'unix:path=/var/run/dbus/system_bus_socket';
const CONNECT_TIMEOUT_MS = 5_000;
const CALL_TIMEOUT_MS = 5_000;

export interface BusOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** D-Bus address; default DBUS_SYSTEM_BUS_ADDRESS, else the standard socket. */
  readonly address?: string;
}

/** The system bus, not connected yet. dbus-next is loaded by the first `connect`. */
export function systemBus({ clock, log, address }: BusOptions): Bus {
  // an empty variable counts as unset, as in libdbus
  const given = address ?? (process.env['DBUS_SYSTEM_BUS_ADDRESS'] || DEFAULT_ADDRESS);
  return reconnectingBus({ clock, log, open: (handlers) => openLink(given, clock, log, handlers) });
}

/** Connects once. Rejects with HostError `bus-down` (no bus there) or `bus-lost` (there, but no talking to it). */
async function openLink(address: string, clock: Clock, log: Log, handlers: LinkHandlers): Promise<Link> {
  const busAddress = socketAddress(address);
  if (busAddress === undefined)
    throw new HostError('bus-down', `no unix socket path in the D-Bus address '${address}'`);
  const library = await import('dbus-next');
  const link = new DbusLink(library, library.sessionBus({ busAddress }), clock, log, handlers);
  await link.ready;
  return link;
}

interface Pending {
  readonly timer: Timer;
  resolve(body: readonly unknown[]): void;
  reject(error: HostError): void;
}

/** What dbus-next keeps private and does not pass on: the end of its socket. */
interface Inside {
  readonly _connection: { readonly stream: Socket };
}

class DbusLink implements Link {
  readonly ready: Promise<void>;
  readonly #library: Library;
  readonly #bus: MessageBus;
  readonly #stream: Socket;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #handlers: LinkHandlers;
  readonly #pending = new Map<number, Pending>();
  #failReady: ((error: HostError) => void) | undefined;
  #unreadable = 0;
  #ended = false;

  // Synchronous from the creation of the socket to its error listener: an error without a listener ends the process.
  constructor(library: Library, bus: MessageBus, clock: Clock, log: Log, handlers: LinkHandlers) {
    this.#library = library;
    this.#bus = bus;
    this.#stream = (bus as unknown as Inside)._connection.stream;
    this.#clock = clock;
    this.#log = log;
    this.#handlers = handlers;
    bus.on('error', (error: unknown) => this.#end(describeError(error), isAbsent(error) ? 'bus-down' : 'bus-lost'));
    this.#stream.on('end', () => this.#end('the bus closed the connection'));
    this.#stream.on('close', () => this.#end('the connection to the bus is closed'));
    bus.on('message', (message) => this.#receive(message));
    this.ready = this.#whenReady();
  }

  get uniqueName(): string {
    return (this.#bus as unknown as { readonly name: string | null }).name ?? '';
  }

  call(call: BusCall): Promise<readonly unknown[]> {
    const { timeoutMs = CALL_TIMEOUT_MS, autoStart = true, ...like } = call;
    const { MessageFlag } = this.#library;
    const serial = this.#bus.newSerial();
    return new Promise((resolve, reject) => {
      const late = (): void => this.#fail(serial, 'bus-timeout', `no answer in ${timeoutMs} ms`, call);
      this.#pending.set(serial, { timer: this.#clock.after(timeoutMs, late), resolve, reject });
      try {
        this.#send({ ...like, serial, ...(autoStart ? {} : { flags: MessageFlag.NO_AUTO_START }) });
      } catch (error) {
        this.#fail(serial, 'bus-lost', describeError(error), call);
      }
    });
  }

  emit(signal: Omit<BusCall, 'timeoutMs' | 'autoStart'>): void {
    this.#send({ ...signal, type: this.#library.MessageType.SIGNAL });
  }

  close(): void {
    this.#end('closed');
  }

  #send(like: Omit<MessageLike, 'body'> & { readonly body?: readonly unknown[] }): void {
    const { body = [], ...rest } = like;
    this.#bus.send(new this.#library.Message({ ...rest, body: [...body] }));
  }

  async #whenReady(): Promise<void> {
    const timer = this.#clock.after(CONNECT_TIMEOUT_MS, () => this.#end(`no welcome in ${CONNECT_TIMEOUT_MS} ms`));
    try {
      await new Promise<void>((resolve, reject) => {
        this.#failReady = reject;
        this.#bus.on('connect', resolve);
      });
    } finally {
      this.#failReady = undefined;
      timer.cancel();
    }
    this.#guardParser();
  }

  // dbus-next parses in a 'readable' listener that throws what it cannot read, e.g. a body of type `h` without a file
  // descriptor, which any local user may send to any connection (measured): uncaught, that ends the process. It has taken
  // the whole message off the stream by then, so the next one can be read.
  #guardParser(): void {
    const parsers = this.#stream.listeners('readable');
    const parse = (): void => parsers.forEach((parser) => void Reflect.apply(parser, this.#stream, []));
    this.#stream.removeAllListeners('readable');
    this.#stream.on('readable', () => {
      while (!this.#ended && !this.#parses(parse)) this.#unreadable += 1;
    });
  }

  #parses(parse: () => void): boolean {
    try {
      parse();
      return true;
    } catch (error) {
      // one line a connection: whoever sends one such message can send many
      const level = this.#unreadable === 0 ? 'warning' : 'debug';
      this.#log.write(level, `D-Bus: a message that cannot be read was left out: ${describeError(error)}`);
      return false;
    }
  }

  // Never throws: dbus-next would answer the sender of a signal with an error message.
  #receive(message: Message): void {
    if (this.#ended) return;
    const { ERROR, METHOD_RETURN, SIGNAL } = this.#library.MessageType;
    try {
      if (message.type === SIGNAL) this.#handlers.signal(message);
      else if (message.type === METHOD_RETURN || message.type === ERROR) this.#answer(message, message.type === ERROR);
    } catch (error) {
      this.#log.write('error', `D-Bus: handling ${message.interface}.${message.member}: ${describeError(error)}`);
    }
  }

  #answer(message: Message, isError: boolean): void {
    const serial = Number(message.replySerial);
    if (isError && this.uniqueName === '') {
      // Hello was refused. dbus-next would throw in a promise that nobody holds: keep the answer from it.
      message.replySerial = '';
      return this.#end(`the bus refused us: ${message.errorName}`);
    }
    const said = `${message.errorName}: ${String(message.body[0] ?? '')}`;
    if (isError) return this.#fail(serial, 'bus-refused', said);
    this.#take(serial)?.resolve(message.body);
  }

  #fail(serial: number, code: string, said: string, call?: BusCall): void {
    const where = call === undefined ? '' : `${call.destination} ${call.member}: `;
    this.#take(serial)?.reject(new HostError(code, `${where}${said}`));
  }

  #take(serial: number): Pending | undefined {
    const pending = this.#pending.get(serial);
    pending?.timer.cancel();
    this.#pending.delete(serial);
    return pending;
  }

  #end(reason: string, code = 'bus-lost'): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#bus.removeAllListeners();
    this.#bus.on('error', (error: unknown) =>
      this.#log.write('debug', `D-Bus, after the end: ${describeError(error)}`),
    );
    this.#stream.destroy();
    for (const serial of [...this.#pending.keys()]) this.#fail(serial, 'bus-lost', reason);
    if (this.#failReady === undefined) this.#handlers.lost(reason);
    else this.#failReady(new HostError(code, reason));
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Nobody listens at the socket, or there is none. */
function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED');
}
