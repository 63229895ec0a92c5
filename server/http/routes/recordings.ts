/** Recordings of consoles. */
import type { recordingsOperations } from '#lib/api/operations/recordings.ts'
import type { Engine } from '#server/engine/types.ts'
import { attachment, parseRange } from '#server/http/byte-range.ts'
import { type Handlers, RawAnswer } from '#server/http/contract-routes.ts'

export function recordingRoutes({ recordings }: Engine): Pick<Handlers, keyof typeof recordingsOperations> {
  return {
    recordingList: ({ caller, params }) => recordings.list(caller, params.id),
    recordingStart: ({ caller, params, body }) => recordings.start(caller, params.id, body),
    recordingView: ({ caller, params }) => recordings.view(caller, params.id, params.recording),
    recordingStop: ({ caller, params }) => recordings.stop(caller, params.id, params.recording),
    async recordingContent({ caller, params, request }) {
      const rangeOf = (sizeBytes: number) => parseRange(request.headers.range, sizeBytes)
      const isHead = request.method === 'HEAD'
      const found = await recordings.content(caller, params.id, params.recording, rangeOf, !isHead)
      const { name, sizeBytes, range, body } = found
      const headers = {
        'accept-ranges': 'bytes',
        'content-disposition': attachment(name),
        'content-length': String(range === null ? sizeBytes : range.to - range.from + 1),
        ...(range !== null && { 'content-range': `bytes ${range.from}-${range.to}/${sizeBytes}` }),
      }
      return new RawAnswer(range === null ? 200 : 206, headers, body)
    },
    recordingDelete: ({ caller, params }) => recordings.delete(caller, params.id, params.recording),
    recordingRuleSet: ({ caller, params, body }) => recordings.setRule(caller, params.id, body),
    recordingSettingsView: ({ caller }) => recordings.settings(caller),
    recordingSettingsUpdate: ({ caller, body }) => recordings.updateSettings(caller, body),
  }
}
