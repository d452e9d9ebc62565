/** Dates as the editor's language writes them. A formatter is costly to make and cheap to use: each is made once, when needed. */
export class Dates {
  private readonly language: string;
  private readonly formats = new Map<Intl.DateTimeFormatOptions, Intl.DateTimeFormat>();

  constructor(language: string) {
    this.language = language;
  }

  /** `November 24, 2026`. */
  day(time: number): string {
    return this.format(DAY, time);
  }

  /** `11/24/2026`. */
  date(time: number): string {
    return this.format(DATE, time);
  }

  /** `10:53 AM`. */
  clock(time: number): string {
    return this.format(CLOCK, time);
  }

  private format(options: Intl.DateTimeFormatOptions, time: number): string {
    let format = this.formats.get(options);
    if (format === undefined) {
      format = new Intl.DateTimeFormat(this.language, options);
      this.formats.set(options, format);
    }
    return format.format(time);
  }
}

const DAY: Intl.DateTimeFormatOptions = { dateStyle: 'long' };
const DATE: Intl.DateTimeFormatOptions = { year: 'numeric', month: 'numeric', day: 'numeric' };
const CLOCK: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };

/** The day that `time` is on, in local time, as milliseconds at its start. */
export function startOfDay(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}
