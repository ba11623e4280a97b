// keeper · pods whose sweep is asked for at about the same time share one walk over the kernel's table of connections.

export type SurveyPod = { readonly podIdx: number; readonly netnsFd: number };

type Waiting = SurveyPod & { readonly tell: (due: boolean) => void };

/** A sweep of all pods is asked for pod by pod, in the keeper's order of requests. */
export class Surveys {
  readonly #survey: (pods: readonly SurveyPod[]) => Promise<readonly number[]>;
  readonly #failed: (error: unknown) => void;
  #waiting: Waiting[] = [];
  #running = false;

  /**
   * @param survey which of these pods have a connection that may have to end
   * @param failed hears what the survey threw; the pods it was for are then all due
   */
  constructor(survey: (pods: readonly SurveyPod[]) => Promise<readonly number[]>, failed: (error: unknown) => void) {
    this.#survey = survey;
    this.#failed = failed;
  }

  /**
   * Has the pod a connection that may have to end? Answered by a walk that begins after this call: an earlier walk may have
   * passed by what has changed.
   */
  isDue(pod: SurveyPod): Promise<boolean> {
    return new Promise((tell) => {
      this.#waiting.push({ ...pod, tell });
      if (this.#running) return;
      this.#running = true;
      // After what has come in already.
      setImmediate(() => void this.#run());
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const pods = this.#waiting;
      this.#waiting = [];
      let found: ReadonlySet<number> | undefined;
      try {
        found = new Set(await this.#survey(pods));
      } catch (error) {
        this.#failed(error);
      }
      for (const { podIdx, tell } of pods) tell(found?.has(podIdx) ?? true);
    }
    this.#running = false;
  }
}
