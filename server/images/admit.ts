/**
 * The door: every file that is to become ours comes through here, whichever way it came in (upload, download, import,
 * starter). Our own parser decides what it is; a compressed file is unpacked within limits; a disk in any format but
 * raw is copied into a fresh qcow2 by qemu-img in its sandbox; what came out is looked at again; then it is adopted.
 *
 *   temporary file → identify → [unpack → identify] → [convert → inspect] → adopt → image
 *
 * An OVA becomes several: each of its disks goes that way, and they are adopted together with a draft of the VM.
 *
 * Everything happens in one stage directory below the uploads, named by the new image's id: a crash leaves either no
 * image and a stage that the sweep at start removes, or the image.
 */
import { randomUUID, randomUUIDv7 } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EngineError } from '#server/engine/errors.ts'
import type { JobContext } from '#server/jobs/registry.ts'
import { admitAppliance } from './appliance.ts'
import { hashFile } from './hash.ts'
