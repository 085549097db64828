// What mendwall says to people and to the journal: one event a line, on stderr. The only file that imports pino, loaded at the
// first line. Guarantees: written synchronously, so that a crash loses no line already said; nothing in a message can steer a
// terminal; a message said again and again becomes a count. No worker thread, no transport, no file of its own.

import { fstatSync, writeSync } from 'node:fs';
import type { Clock, Log, LogLevel, Timer } from './host.ts';
import { escapeControl } from './text.ts';

/**
 * `journal`: `<4>text`, the prefix being sd-daemon(3)'s priority; `plain`: text; `json`: one object a line with
 * `schema`, `level`, `time`, `message`, `fields`. `auto`: journal when stderr goes to systemd's journal, else plain.
 */
export type LogForm = 'auto' | 'journal' | 'plain' | 'json';

export interface LogOptions {
  readonly form: LogForm;
  /** Least level that is written. */
  readonly level: LogLevel;
  readonly clock: Clock;
  /** File descriptor to write to. Default 2. */
  readonly fd?: number;
}

/** A Log to be closed: `close` writes what is still held (the first lines while pino loads, the count of a repeated line). */
export interface ClosableLog extends Log {
  close(): Promise<void>;
}

interface Line {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

const STDERR = 2;
const LEVELS: readonly LogLevel[] = ['debug', 'info', 'notice', 'warning', 'error'];

type Write = (line: Line) => void;

/** pino's numbers for the levels; `notice` is ours, between info and warn. */
const PINO_LEVELS = { debug: 20, info: 30, notice: 35, warning: 40, error: 50 } as const;
/** Syslog priorities (sd-daemon(3)). */
const PRIORITIES = { debug: 7, info: 6, notice: 5, warning: 4, error: 3 } as const;
/** For how long the same message again is counted instead of written. */
const REPEAT_WINDOW_MS = 30_000;

/** Opens the log. Never throws; a message that cannot be written (stderr closed) is lost, as there is nowhere to say so. */
export function openLog(options: LogOptions): ClosableLog {
  const sink = lazySink(options);
  const repeats = collapseRepeats(options.clock, sink.write);
  return {
    write(level, message, fields) {
      if (PINO_LEVELS[level] < PINO_LEVELS[options.level]) return;
      repeats.write({ level, message: escapeControl(message), fields });
    },
    close() {
      repeats.flush();
      return sink.flush();
    },
  };
}

/** The same level and message within the window is counted; the count follows when the window ends or another message comes. */
function collapseRepeats(clock: Clock, write: Write): { write: Write; flush(): void } {
  let last: Line | undefined;
  let again = 0;
  let timer: Timer | undefined;
  function flush(): void {
    timer?.cancel();
    if (last !== undefined && again > 0) write({ ...last, message: `${last.message} (said ${again} more times)` });
    last = undefined;
    again = 0;
  }
  return {
    flush,
    write(line) {
      if (last?.level === line.level && last.message === line.message) {
        again += 1;
        timer ??= clock.after(REPEAT_WINDOW_MS, flush);
        return;
      }
      flush();
      timer = undefined;
      last = line;
      write(line);
    },
  };
}

/** Holds lines until pino is there. If the process ends before that, they are written without it. */
function lazySink(options: LogOptions): { write: Write; flush(): Promise<void> } {
  const held: Line[] = [];
  const form = resolveForm(options);
  let ready: Write | undefined;
  let loading: Promise<void> | undefined;
  function drain(write: Write): void {
    for (const line of held.splice(0)) write(line);
  }
  const lastResort = (): void =>
    drain((line) => void writeSync(options.fd ?? STDERR, lineWithoutPino(form, line, options.clock)));
  async function load(): Promise<void> {
    process.once('exit', lastResort);
    ready = await pinoWriter(form, options.fd ?? STDERR);
    process.off('exit', lastResort);
    drain(ready);
  }
  return {
    write(line) {
      if (ready !== undefined) return ready(line);
      held.push(line);
      loading ??= load();
    },
    flush: async () => loading,
  };
}

async function pinoWriter(form: ResolvedForm, fd: number): Promise<Write> {
  const { pino, destination, stdTimeFunctions } = await import('pino');
  const file = destination({ dest: fd, sync: true });
  // EPIPE or a closed descriptor: the place to complain is the one that is gone.
  file.on('error', () => undefined);
  const options = {
    level: 'debug',
    customLevels: PINO_LEVELS,
    useOnlyCustomLevels: true,
    base: { schema: 1 },
    messageKey: 'message',
    nestedKey: 'fields',
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  } as const;
  const logger = pino(options, form === 'json' ? file : humanDestination(form, (text) => file.write(text)));
  return (line) => logger[line.level](line.fields, line.message);
}

/** pino leaves level and message of the line beside its JSON text for a destination with this symbol. */
const METADATA = Symbol.for('pino.metadata');

function humanDestination(form: 'journal' | 'plain', write: (text: string) => void): { write(json: string): void } {
  const human = {
    [METADATA]: true,
    lastLevel: PINO_LEVELS.info as number,
    lastMsg: '',
    write: () => write(humanLine(form, levelOf(human.lastLevel), human.lastMsg)),
  };
  return human;
}

function levelOf(number: number): LogLevel {
  return LEVELS.find((level) => PINO_LEVELS[level] === number) ?? 'error';
}

function humanLine(form: 'journal' | 'plain', level: LogLevel, message: string): string {
  if (form === 'journal') return `<${PRIORITIES[level]}>${message}\n`;
  return level === 'warning' || level === 'error' ? `${level}: ${message}\n` : `${message}\n`;
}

function lineWithoutPino(form: ResolvedForm, line: Line, clock: Clock): string {
  if (form !== 'json') return humanLine(form, line.level, line.message);
  const time = new Date(clock.wallMs()).toISOString();
  return `${JSON.stringify({ level: line.level, time, schema: 1, fields: line.fields, message: line.message })}\n`;
}

type ResolvedForm = Exclude<LogForm, 'auto'>;

/** systemd.exec(5): JOURNAL_STREAM is `device:inode` of the stream; it counts only when our descriptor still is that one. */
function resolveForm(options: LogOptions): ResolvedForm {
  if (options.form !== 'auto') return options.form;
  const stream = process.env['JOURNAL_STREAM'];
  if (stream === undefined) return 'plain';
  const { dev, ino } = fstatSync(options.fd ?? STDERR);
  return stream === `${dev}:${ino}` ? 'journal' : 'plain';
}
