import type { Project } from '#lib/schema/project.ts'

/** The members as the API takes them: without their names. */
export const memberInputs = (members: Project['members']) => members.map(({ to, role }) => ({ to, role }))
