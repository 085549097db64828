// The control socket: `<run>/control.sock`, one request and one answer a connection, each one line of JSON.
// Guarantees: 0600 in a folder of 0750 root: Node cannot ask who a peer is (SO_PEERCRED), so the file system decides;
// a line that is too long, no JSON or of another schema is answered with a refusal, never with an exception.
// What it does not do: know verbs. The only file that imports node:net.

import { chmod, lstat, rename, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { HostError } from './host.ts';

export interface ControlRequest {
  readonly schema: 1;
  readonly verb: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** What a request gave: the verb's own result, or why there is none. */
export type ControlAnswer =
  | { readonly schema: 1; readonly ok: true; readonly result: unknown }
  | { readonly schema: 1; readonly ok: false; readonly code: string; readonly message: string };

export type ControlHandler = (request: ControlRequest) => Promise<ControlAnswer>;

export interface ControlServer {
  /** False when the socket's file was removed or replaced: nobody reaches this server any more. */
  stands(): Promise<boolean>;
  /** Ends it; removes the file when it is still this server's. */
  close(): Promise<void>;
}

/** `absent`: nobody listens there. `silent`: somebody does and did not answer in time. */
export type CallOutcome =
  | { readonly kind: 'answer'; readonly answer: ControlAnswer }
  | { readonly kind: 'absent' }
  | { readonly kind: 'silent' }
  /** The file system does not let us (EACCES): not root. */
  | { readonly kind: 'forbidden' };

const MODE = 0o600;
/** A request names a verb and some words; an answer may hold a whole ruleset. */
const LARGEST_REQUEST = 1024 * 1024;
const LARGEST_ANSWER = 256 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 5_000;

/**
 * Listens at `path`. The caller holds the daemon's lock, so a socket that stands there is a dead daemon's and is replaced.
 * Throws HostError `socket-failed`.
 */
export async function serveControl(path: string, handler: ControlHandler): Promise<ControlServer> {
  await removeOld(path);
  const open = new Set<Socket>();
  // A peer may end its own side after the request and still wait for the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    serveOne(socket, handler);
  });
  // Born 0600: between bind and chmod nobody else may connect.
  // Under another name: at its end libuv unlinks the name it was bound to, whoever's socket stands there by then.
  const born = `${path}.${process.pid}`;
  await removeOld(born);
  const umask = process.umask(0o177);
  try {
    await listen(server, born);
    await chmod(born, MODE);
    await rename(born, path);
  } catch (error) {
    server.close();
    throw error instanceof HostError
      ? error
      : new HostError('socket-failed', `cannot listen at ${path}: ${String(error)}`);
  } finally {
    process.umask(umask);
  }
  const inode = await inodeOf(path);
  const stands = async (): Promise<boolean> => (await inodeOf(path)) === inode;
  return { stands, close: async () => close(server, open, (await stands()) ? path : undefined) };
}

async function removeOld(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => undefined);
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new HostError('socket-failed', `${path} is there and is no socket; move it away`);
  await unlink(path);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new HostError('socket-failed', `cannot listen at ${path}: ${error.message}`)),
    );
    server.listen(path, resolve);
  });
}

async function inodeOf(path: string): Promise<string | undefined> {
  const stat = await lstat(path).catch(() => undefined);
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

async function close(server: Server, open: ReadonlySet<Socket>, path: string | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    for (const socket of open) socket.destroy();
  });
  if (path === undefined) return;
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

function serveOne(socket: Socket, handler: ControlHandler): void {
  socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
  // A peer that went away needs no answer.
  socket.on('error', () => socket.destroy());
  onLine(socket, LARGEST_REQUEST, (line) => {
    socket.setTimeout(0);
    void answer(line, handler).then((given) => socket.end(`${JSON.stringify(given)}\n`));
  });
}

async function answer(line: string | undefined, handler: ControlHandler): Promise<ControlAnswer> {
  const request = line === undefined ? undefined : parseRequest(line);
  if (request === undefined) return refuse('bad-request', 'expected one line {"schema":1,"verb":...,"args":{...}}');
  try {
    return await handler(request);
  } catch (error) {
    return refuse(
      error instanceof HostError ? error.code : 'internal-error',
      error instanceof Error ? error.message : String(error),
    );
  }
}

/** An answer without a result. */
export function refuse(code: string, message: string): ControlAnswer {
  return { schema: 1, ok: false, code, message };
}

function parseRequest(line: string): ControlRequest | undefined {
  const value = parseJson(line);
  if (value === undefined || value['schema'] !== 1 || typeof value['verb'] !== 'string') return undefined;
  const args = value['args'];
  return {
    schema: 1,
    verb: value['verb'],
    args: typeof args === 'object' && args !== null ? (args as Record<string, unknown>) : {},
  };
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Calls back once: with the first line, or with undefined when the peer ends before it or the line is too long. */
function onLine(socket: Socket, largest: number, run: (line: string | undefined) => void): void {
  const chunks: string[] = [];
  let length = 0;
  let done = false;
  const finish = (line: string | undefined): void => {
    if (!done) run(line);
    done = true;
  };
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    if (done) return;
    const newline = chunk.indexOf('\n');
    chunks.push(newline === -1 ? chunk : chunk.slice(0, newline));
    length += chunk.length;
    if (newline !== -1) finish(chunks.join(''));
    else if (length > largest) finish(undefined);
  });
  socket.once('end', () => finish(undefined));
}

/**
 * Sends one request. `firstMs`: how long a daemon may take to answer at all; a pass under way delays it, so give verbs
 * that wait for the queue more. Never throws.
 */
export function callControl(path: string, request: ControlRequest, firstMs: number): Promise<CallOutcome> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (outcome: CallOutcome): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => finish({ kind: 'silent' }), firstMs);
    socket.once('error', (error: NodeJS.ErrnoException) => finish(outcomeOf(error)));
    socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    onLine(socket, LARGEST_ANSWER, (line) => {
      const value = line === undefined ? undefined : parseJson(line);
      finish(isAnswer(value) ? { kind: 'answer', answer: value } : { kind: 'silent' });
    });
  });
}

function outcomeOf(error: NodeJS.ErrnoException): CallOutcome {
  if (error.code === 'EACCES' || error.code === 'EPERM') return { kind: 'forbidden' };
  // ECONNREFUSED: the file of a daemon that is gone. EAGAIN: its backlog is full, it does not accept.
  return {
    kind: error.code === 'EAGAIN' || error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'silent' : 'absent',
  };
}

function isAnswer(value: Record<string, unknown> | undefined): value is Record<string, unknown> & ControlAnswer {
  return value !== undefined && value['schema'] === 1 && typeof value['ok'] === 'boolean';
}
