"""What must hold, one module for each kind of promise; each header says what is verified and what is not.

The numbers (I1 to I26) are those of docs/SIMULATOR.md. `base.Checker` has the moments at which a checker may look.
"""
