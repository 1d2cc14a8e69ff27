"""What `headstart audit` suspects, shown to a person who decides, and heads trained anew on the corrections."""
