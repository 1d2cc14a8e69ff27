"""HTTP: who may ask, what a request says, what is answered, and the problem documents in between."""
