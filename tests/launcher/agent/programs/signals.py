"""Dispositions, mask, wake-up descriptor and timers."""

import signal

for number in sorted(signal.valid_signals()):
    print(number, signal.getsignal(number))
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending(), signal.set_wakeup_fd(-1))
print(signal.getitimer(signal.ITIMER_REAL))
with open("/proc/self/status") as file:
    lines = [line.split() for line in file if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
print([(name, int(mask, 16) & 0x7FFFFFFF) for name, mask in lines])  # not those that the C library handles itself
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", number, frame.f_code.co_name))
signal.raise_signal(signal.SIGUSR1)
