// One file of the hook spool as text and back: the contract between hooks/mendwall-hook and the guard. Pure.

/** What libvirt told the hook. `subject` (a guest's or network's name) may hold any character but NUL: data, never syntax. */
export interface HookCall {
  /** qemu, network, libxl, lxc or daemon. */
  readonly object: string;
  readonly subject: string;
  readonly operation: string;
  readonly subOperation: string;
  readonly extra: string;
}

const FORMAT = 'mendwall-hook-1';
const FIELDS = 6;

/** The call in a file that hooks/mendwall-hook wrote, or undefined when it is something else or not whole. */
export function parseSpoolFile(text: string): HookCall | undefined {
  const fields = text.split('\0');
  const [format, object, subject, operation, subOperation, extra, rest] = fields;
  if (fields.length !== FIELDS + 1 || format !== FORMAT || rest !== '') return undefined;
  if (object === undefined || subject === undefined || operation === undefined) return undefined;
  return { object, subject, operation, subOperation: subOperation ?? '', extra: extra ?? '' };
}
