/** Text a guest copied, on its way to where its reader may paste it: into a terminal, for one. */
const MAX_CHARACTERS = 2 ** 20

/** Its first mebibyte, with line ends as they are here and no other control characters than tabs. */
export const plainGuestText = (text: string): string =>
  text
    .slice(0, MAX_CHARACTERS)
    .replace(/\r\n?/g, '\n')
    .replace(/(?![\n\t])\p{Cc}/gu, '')
