"""The HTTP service: trained heads behind their backbones, asked over HTTP. `app.create` is the ASGI application."""
