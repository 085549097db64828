// What an iptables target does to a packet. A target that is not known here may do anything. Pure.

import type { CompileContext } from './facts.ts';
import type { Option, RuleWords } from './iptables-words.ts';
import type { Action, SetField, Translate } from './program.ts';
import { addressValue, numberOf } from './values.ts';

type Target = NonNullable<RuleWords['target']>;

const VERDICTS: Readonly<Record<string, Action>> = {
  ACCEPT: { kind: 'accept' },
  DROP: { kind: 'drop' },
  RETURN: { kind: 'return' },
  NOTRACK: { kind: 'notrack' },
  QUEUE: { kind: 'unknown', why: 'a program decides (QUEUE)' },
  NFQUEUE: { kind: 'unknown', why: 'a program decides (NFQUEUE)' },
};

/** They change or report what no match looks at. */
const NOTES = new Set(
  'LOG NFLOG ULOG AUDIT TRACE TCPMSS CHECKSUM TCPOPTSTRIP CLASSIFY DSCP TOS TTL HL ECN SET RATEEST LED IDLETIMER SECMARK CONNSECMARK'.split(
    ' ',
  ),
);

/** The action of a rule's target; undefined for a rule without one, which only counts. */
export function targetAction(target: Target | undefined, context: CompileContext): Action | undefined {
  if (target === undefined || target.name === '') return undefined;
  const { name, options } = target;
  if (target.goto) return { kind: 'goto', chain: name };
  const verdict = VERDICTS[name];
  if (verdict !== undefined) return verdict;
  if (NOTES.has(name)) return { kind: 'note', what: name };
  switch (name) {
    case 'REJECT':
      return { kind: 'reject', how: argument(options, '--reject-with') ?? defaultReject(context) };
    case 'DNAT':
      return translated('dnat', argument(options, '--to-destination'), context);
    case 'SNAT':
      return translated('snat', argument(options, '--to-source'), context);
    case 'MASQUERADE':
      return { kind: 'translate', how: 'masquerade', port: portOf(argument(options, '--to-ports')) };
    case 'REDIRECT':
      return { kind: 'translate', how: 'redirect', port: portOf(argument(options, '--to-ports')) };
    case 'MARK':
      return markAction('mark', options);
    case 'CONNMARK':
      return markAction('ctMark', options);
    case 'CT':
      return options.some((option) => option.name === '--notrack') ? { kind: 'notrack' } : { kind: 'note', what: 'CT' };
    default:
      return isChainName(target) ? { kind: 'jump', chain: name } : { kind: 'unknown', why: `-j ${name}` };
  }
}

/** Extensions are upper case and take options; a chain takes none. The caller knows which chains there are. */
const isChainName = ({ options }: Target): boolean => options.length === 0;

const defaultReject = ({ family }: CompileContext): string =>
  family === 'ip' ? 'icmp-port-unreachable' : 'icmp6-port-unreachable';

function argument(options: readonly Option[], name: string): string | undefined {
  return options.find((option) => option.name === name)?.args[0];
}

/** `192.168.122.50`, `192.168.122.50:22`, `:8080`, `[fd00::1]:22`, `10.0.0.1-10.0.0.9:1024-65535` */
const DESTINATION = /^(?:\[(?<boxed>[^\]]+)\]|(?<plain>[^[\]]*?))(?::(?<ports>[^:]+))?$/;

function translated(how: 'dnat' | 'snat', text: string | undefined, { family }: CompileContext): Translate {
  const bare = family === 'ip6' && text !== undefined && !text.startsWith('[');
  const groups = bare ? { plain: text } : DESTINATION.exec(text ?? '')?.groups;
  const address = groups?.['boxed'] ?? groups?.['plain'] ?? '';
  const port = text === undefined ? undefined : portOf(groups?.['ports']);
  // `:2222` names a port only.
  const target = address === '' && port !== undefined ? 'kept' : addressValue(family, address);
  return { kind: 'translate', how, address: target, port };
}

/** Without a text the port is kept; of a range, nobody knows which one. */
function portOf(text: string | undefined): Translate['port'] {
  if (text === undefined) return 'kept';
  const number = numberOf(text);
  return number ?? (rangeEnds(text) ? Number(text.slice(0, text.indexOf('-'))) : undefined);
}

/** `8080-8080` */
const rangeEnds = (text: string): boolean => /^(\d+)-\1$/.test(text);

const ALL_BITS = 0xffffffff;

/** MARK and CONNMARK (iptables-extensions(8)): each option as value and mask. */
function markAction(field: 'mark' | 'ctMark', options: readonly Option[]): Action {
  const option = options.find(({ name }) => name.startsWith('--'));
  const set = (clear: number, source: SetField['source'], sourceMask = ALL_BITS): SetField => ({
    kind: 'set',
    field,
    clear,
    source,
    sourceMask,
  });
  const [value, mask = ALL_BITS] = (option?.args[0] ?? '').split('/').map((part) => numberOf(part));
  switch (option?.name) {
    case '--set-xmark':
      return set(mask, value);
    case '--set-mark':
      return set((mask | (value ?? 0)) >>> 0, value);
    case '--and-mark':
      return set(value === undefined ? ALL_BITS : ~value >>> 0, value === undefined ? undefined : 0);
    case '--or-mark':
      return set(value ?? ALL_BITS, value);
    case '--xor-mark':
      return set(0, value);
    default:
      return copyMark(field, options);
  }
}

function copyMark(field: 'mark' | 'ctMark', options: readonly Option[]): Action {
  const saved = options.some(({ name }) => name === '--save-mark');
  if (field !== 'ctMark' || !(saved || options.some(({ name }) => name === '--restore-mark')))
    return { kind: 'set', field, clear: ALL_BITS, source: undefined, sourceMask: ALL_BITS };
  const maskOf = (name: string): number => {
    const text = argument(options, name) ?? argument(options, '--mask');
    return (text === undefined ? undefined : numberOf(text)) ?? ALL_BITS;
  };
  const [nfMask, ctMask] = [maskOf('--nfmask'), maskOf('--ctmask')];
  return saved
    ? { kind: 'set', field: 'ctMark', clear: ctMask, source: 'mark', sourceMask: nfMask }
    : { kind: 'set', field: 'mark', clear: nfMask, source: 'ctMark', sourceMask: ctMask };
}
