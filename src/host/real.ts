// The machine itself, as one Host. Built once, in main.ts.

import { realClock } from './clock.ts';
import { dialog, exec, lines } from './exec.ts';
import { realFiles } from './files.ts';
import type { Host, LogLevel } from './host.ts';
import { openLog, type LogForm } from './log.ts';
import { realProc } from './proc.ts';

export interface RealHostOptions {
  /** State and run folder (absolute): below them symbolic links are refused. */
  readonly ownFolders: readonly string[];
  /** Default `auto`. */
  readonly logForm?: LogForm;
  /** Least level that is written. Default `info`. */
  readonly logLevel?: LogLevel;
}

/** A Host to be closed before the process ends: writes the log lines still held. */
export interface RealHost extends Host {
  close(): Promise<void>;
}

/** Assembles the real doors. Loads no library and touches nothing until one of them is used. */
export function realHost(options: RealHostOptions): RealHost {
  const log = openLog({ form: options.logForm ?? 'auto', level: options.logLevel ?? 'info', clock: realClock });
  return {
    exec,
    lines,
    dialog,
    proc: realProc,
    files: realFiles({ ownFolders: options.ownFolders }),
    clock: realClock,
    log,
    close: () => log.close(),
  };
}
