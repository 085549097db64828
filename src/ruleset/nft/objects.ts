// The named objects of a table: chains, sets, maps, flowtables, stateful objects. Pure.

import { type Head, linesOf, listOf, readBlock, readLine, readOpaque, valueOf } from './blocks.ts';
import { unquote } from './lex.ts';
import { priorityNumber } from './priority.ts';
import { type ParseState, takeStatement } from './statement-text.ts';
import {
  type NftBase,
  type NftChain,
  type NftFamily,
  type NftFlowtable,
  type NftObject,
  type NftSet,
  type NftStateful,
  STATEFUL_KEYWORDS,
  type StatefulKeyword,
} from './types.ts';

/** Reads the object whose head is the current line. */
export function readObject(state: ParseState, head: Head, family: NftFamily): NftObject {
  const space = head.text.indexOf(' ');
  const keyword = head.text.slice(0, space);
  const name = head.text.slice(space + 1);
  switch (space === -1 ? '' : keyword) {
    case 'chain':
      return readChain(state, head, name, family);
    case 'set':
    case 'map':
    case 'meter':
      return readSet(state, head, keyword as NftSet['keyword'], name);
    case 'flowtable':
      return readFlowtable(state, head, name);
    default: {
      const stateful = STATEFUL_KEYWORDS.find((each) => head.text.startsWith(`${each} `));
      if (stateful !== undefined) return readStateful(state, head, stateful);
      return { kind: 'opaque', ...readOpaque(state, head) };
    }
  }
}

/** `type filter hook input ...`, `policy drop;`, `comment "x"`: lines of the chain itself. No rule begins so. */
const CHAIN_LINE = /^(?:type \S+ hook |policy |flags |comment "|devices? )/;

function readChain(state: ParseState, head: Head, name: string, family: NftFamily): NftChain {
  const block = readBlock(state, head, (line) => {
    const { source, text, handle } = takeStatement(state, line, 'rules');
    if (CHAIN_LINE.test(text)) return { kind: 'line' as const, source, text };
    return { kind: 'rule' as const, source, text, handle };
  });
  const rules = block.parts.filter((part) => part.kind === 'rule');
  const own = linesOf(block.parts);
  return { kind: 'chain', name, base: baseOf(own, family), comment: commentOf(own), rules, ...block };
}

/** `type filter hook ingress devices = { "eth0", "eth1" } priority -500; policy accept; flags offload;` */
const HOOK = /^type (\S+) hook (\S+)(?: device (\S+)| devices = \{([^}]*)\})? priority ([^;]+)/;
/** `; policy drop;` */
const POLICY = /\bpolicy (\w+)/;
/** `; flags offload;` */
const CHAIN_FLAGS = /\bflags ([\w, ]+)/;

function baseOf(lines: readonly string[], family: NftFamily): NftBase | undefined {
  const hook = lines.map((line) => HOOK.exec(line)).find((found) => found !== null);
  if (hook === undefined || hook === null) return undefined;
  const [, type = '', name = '', device, devices, priority = ''] = hook;
  const rest = lines.filter((line) => !line.startsWith('comment ')).join(' ');
  return {
    type,
    hook: name,
    devices: listOf(device ?? devices).map(unquote),
    priority: { text: priority.trim(), number: priorityNumber(priority.trim(), family) },
    policy: POLICY.exec(rest)?.[1] ?? 'accept',
    flags: listOf(CHAIN_FLAGS.exec(rest)?.[1]),
  };
}

function readSet(state: ParseState, head: Head, keyword: NftSet['keyword'], name: string): NftSet {
  const block = readBlock(state, head, (line) => readLine(state, line));
  const lines = linesOf(block.parts);
  const size = valueOf(lines, 'size');
  return {
    kind: 'set',
    keyword,
    name,
    type: valueOf(lines, 'type'),
    typeOf: valueOf(lines, 'typeof'),
    flags: listOf(valueOf(lines, 'flags')),
    timeout: valueOf(lines, 'timeout'),
    gcInterval: valueOf(lines, 'gc-interval'),
    size: size === undefined ? undefined : Number(size),
    autoMerge: lines.includes('auto-merge'),
    comment: commentOf(lines),
    elementsText: elementsTextOf(lines),
    ...block,
  };
}

/** `elements = { 1.1.1.1, 2.2.2.2 }` -> `1.1.1.1, 2.2.2.2` */
function elementsTextOf(lines: readonly string[]): string {
  const line = lines.find((each) => each.startsWith('elements = {'));
  if (line === undefined) return '';
  const end = line.lastIndexOf('}');
  return line.slice('elements = {'.length, end === -1 ? undefined : end).trim();
}

/** `hook ingress priority filter` */
const FLOW_HOOK = /^hook (\S+) priority (.+)$/;
/** `devices = { eth0, eth1 }` */
const FLOW_DEVICES = /^devices = \{([^}]*)\}$/;

function readFlowtable(state: ParseState, head: Head, name: string): NftFlowtable {
  const block = readBlock(state, head, (line) => readLine(state, line));
  const lines = linesOf(block.parts);
  const hook = lines.map((line) => FLOW_HOOK.exec(line)).find((found) => found !== null);
  const devices = lines.map((line) => FLOW_DEVICES.exec(line)).find((found) => found !== null);
  return {
    kind: 'flowtable',
    name,
    hook: hook?.[1],
    priority: hook?.[2],
    devices: listOf(devices?.[1]).map(unquote),
    flags: listOf(valueOf(lines, 'flags')),
    ...block,
  };
}

function readStateful(state: ParseState, head: Head, keyword: StatefulKeyword): NftStateful {
  const block = readBlock(state, head, (line) => readLine(state, line));
  const name = head.text.slice(keyword.length + 1);
  return { kind: 'stateful', keyword, name, comment: commentOf(linesOf(block.parts)), ...block };
}

export function commentOf(lines: readonly string[]): string | undefined {
  const comment = valueOf(lines, 'comment');
  return comment === undefined ? undefined : unquote(comment);
}
