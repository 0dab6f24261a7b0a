"""Playing a range of the event log again: in its own timing, faster, slower, step by step.

It decides nothing and sends nothing.

pacer       when an event is due            player    reads ahead, seeks, hands out what is due
transforms  what changes messages on their way        control   pause, resume, step, seek, speed, for keys and programs
keys        a terminal's keys as commands
"""
