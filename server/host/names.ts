/** Names of users and groups from /etc/passwd and /etc/group; the number where there is none (NSS is not asked). */
import { readFileSync } from 'node:fs'

export function userName(uid: number): string {
  return lookUp('/etc/passwd', uid) ?? String(uid)
}

export function groupName(gid: number): string {
  return lookUp('/etc/group', gid) ?? String(gid)
}

function lookUp(file: string, id: number): string | null {
  return findName(readText(file), id)
}

/** Both files have the name first and the number third. */
export function findName(text: string, id: number): string | null {
  for (const line of text.split('\n')) {
    const [name, , number] = line.split(':')
    if (name !== undefined && name !== '' && number === String(id)) return name
  }
  return null
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
