"""The job specs that people run, and the command line `audiomill`."""
