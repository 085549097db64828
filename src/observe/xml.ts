// XML text as plain values. The one door to the library.
// Guarantees: a problem is a value, never an exception; entities are not expanded, a document type is refused.

export type XmlProblemCode = 'xml-too-big' | 'xml-doctype' | 'xml-malformed';

export type ParsedXml =
  { readonly root: unknown } | { readonly problem: { readonly code: XmlProblemCode; readonly message: string } };

const MAX_CHARACTERS = 1024 * 1024;

/** The document; its elements are read with the functions below. More than 1 MiB is refused. */
export async function readXml(text: string): Promise<ParsedXml> {
  const problem = (code: XmlProblemCode, message: string): ParsedXml => ({ problem: { code, message } });
  if (text.length > MAX_CHARACTERS) return problem('xml-too-big', `${text.length} characters, at most 1 MiB expected`);
  if (/<!DOCTYPE/i.test(text)) return problem('xml-doctype', 'a document type declaration, which libvirt never writes');
  const { XMLParser, XMLValidator } = await import('fast-xml-parser');
  const valid = XMLValidator.validate(text);
  if (valid !== true) return problem('xml-malformed', `line ${valid.err.line}: ${valid.err.msg.slice(0, 200)}`);
  const root: unknown = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseTagValue: false,
    parseAttributeValue: false,
    processEntities: false,
  }).parse(text);
  return { root };
}

// What fast-xml-parser gives: an element is a string (text only) or an object; a repeated one is an array.

export function children(element: unknown, name: string): unknown[] {
  if (typeof element !== 'object' || element === null || !Object.hasOwn(element, name)) return [];
  const value: unknown = (element as Readonly<Record<string, unknown>>)[name];
  return Array.isArray(value) ? value : [value];
}

export function child(element: unknown, name: string): unknown {
  return children(element, name)[0];
}

export function attribute(element: unknown, name: string): string | undefined {
  const value = child(element, `@${name}`);
  return typeof value === 'string' ? value : undefined;
}

export function textOf(element: unknown): string {
  const text = typeof element === 'string' ? element : child(element, '#text');
  return typeof text === 'string' ? text : '';
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&apos;': "'",
  '&amp;': '&',
};

// What virBufferEscapeString writes: `R&amp;D` is the network `R&D`.
export function unescapeXml(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (entity) => ENTITIES[entity] ?? entity);
}
