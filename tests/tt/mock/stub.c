/* What the loader of ttnn wants to see in a kernel: code, data, and a relocation in each. It never runs. */
extern int answer(int question);

int state = 1;

__attribute__((noinline, used)) int kernel_main(void) { return answer(state); }
__attribute__((noinline, used)) int answer(int question) { return state = question; }
__attribute__((used)) int main(void) { return kernel_main(); }
__attribute__((used, section(".start"))) void _start(void) { kernel_main(); }
